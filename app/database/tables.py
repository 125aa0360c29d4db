"""Every table, for SQLite and PostgreSQL alike.

Times are microseconds since 1970 in UTC, so that both databases keep and order them the same way. Tables of
changes (`recipe_changes`, `bundle_changes`, `reviews`, `audit`) only grow. A change of this file needs a new
migration in `versions/`; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# A counter that SQLite needs to be an INTEGER, and PostgreSQL a BIGINT.
Counter = BigInteger().with_variant(Integer, "sqlite")

# What is true of this database as a whole, such as the name of the box whose chain of hashes it has.
FACTS = Table(
    "facts", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False)
)

INSPECTIONS = Table(
    "inspections",
    METADATA,
    Column("seq", Counter, primary_key=True, autoincrement=True),  # the order of pages
    Column("id", Text, nullable=False, unique=True),  # of the answer
    Column("time_us", BigInteger, nullable=False),  # when it was inspected
    Column("request_id", Text, nullable=False),
    Column("key_name", Text),  # of the API key, or of the user; NULL where none was needed
    Column("camera_id", Text),
    Column("part_id", Text),
    Column("filename", Text),
    Column("recipe", Text, nullable=False),
    Column("recipe_version", Integer, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("bundle_version", Text, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
    Column("class_names", Text, nullable=False),  # JSON: those of the mask's values, from 1 on
    Column("artifact", Text, nullable=False),
    Column("execution_provider", Text, nullable=False),
    Column("verdict", Text, nullable=False),  # pass, fail, review
    Column("defects", Integer, nullable=False),  # their number
    Column("image_probability", Float, nullable=False),
    Column("image_threshold", Float, nullable=False),
    Column("dice_estimated", Float),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("pixel_format", Text),  # of a raw frame; NULL for a file
    Column("stride", Integer),  # of a raw frame, in bytes; NULL without padding
    Column("significant_bits", Integer),  # as the request said; NULL where it did not
    Column("image_sha256", Text, nullable=False),  # of the bytes received
    Column("mask_sha256", Text, nullable=False),  # of the label map, uint8, row by row
    Column("total_ms", Float, nullable=False),
    # the chain: of all of the above and the answer, and of the row before it of the same box
    Column("box", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    # what may change later is not in the hash
    Column("image_file", Text),  # below the folder of images; NULL where it is not kept, or no more
    Column("mask_file", Text),
    Column("stored_bytes", BigInteger),  # of both files
    Column("sample_weight", Float),  # 1 / probability of being drawn for the random sample; NULL: not drawn
    Column("queue_reason", Text),  # why a person should look at it; NULL: nobody needs to
    Column("queue_rank", Float),  # what is looked at first has the highest
    Column("reviewed", Boolean, nullable=False, default=False, server_default="0"),
    # the answer as JSON, without mask, overlay and the like; last, for SQLite reads a row from its start
    Column("answer", Text, nullable=False),
    UniqueConstraint("box", "position"),
    Index(None, "time_us", "seq"),
    Index(None, "camera_id", "time_us", "seq"),
    Index(None, "part_id", "time_us", "seq"),
    Index(None, "verdict", "time_us", "seq"),
    Index(None, "recipe", "time_us", "seq"),
    Index(None, "bundle", "bundle_version", "time_us", "seq"),
    Index(None, "filename", "time_us", "seq"),
    # for retention: images that are kept, by age, and their bytes
    Index(
        "ix_inspections_kept_images",
        *("box", "verdict", "time_us", "stored_bytes"),
        sqlite_where=text("image_file IS NOT NULL"),
        postgresql_where=text("image_file IS NOT NULL"),
    ),
    Index(None, "reviewed", "time_us", "seq"),
    Index(None, "reviewed", "queue_rank", "seq"),
)

# The defect classes of an inspection, for the filter by class and the Pareto chart.
INSPECTION_CLASSES = Table(
    "inspection_classes",
    METADATA,
    Column("seq", Counter, ForeignKey("inspections.seq", ondelete="CASCADE"), primary_key=True),
    Column("class_name", Text, primary_key=True),
    Column("time_us", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Index(None, "class_name", "time_us", "seq"),
)

THUMBNAILS = Table(
    "thumbnails",
    METADATA,
    Column("seq", Counter, ForeignKey("inspections.seq", ondelete="CASCADE"), primary_key=True),
    Column("jpeg", LargeBinary, nullable=False),
)

# Counts by hour, so that statistics over years need no look at each row; empty text for "none".
HOURLY = Table(
    "hourly",
    METADATA,
    Column("hour_us", BigInteger, primary_key=True),
    Column("camera_id", Text, primary_key=True),
    Column("recipe", Text, primary_key=True),
    Column("bundle", Text, primary_key=True),  # NAME/VERSION
    Column("verdict", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("total_ms", Float, nullable=False),  # sum
)
HOURLY_CLASSES = Table(
    "hourly_classes",
    METADATA,
    Column("hour_us", BigInteger, primary_key=True),
    Column("camera_id", Text, primary_key=True),
    Column("recipe", Text, primary_key=True),
    Column("class_name", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),  # images with a defect of the class
)

# Where the chain of a box begins after old rows were deleted.
CHAIN_STARTS = Table(
    "chain_starts",
    METADATA,
    Column("box", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),  # of the last row deleted
    Column("hash", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
)

# First answers by `Idempotency-Key`, kept for a day.
IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),  # SHA-256 of the request
    Column("time_us", BigInteger, nullable=False, index=True),
    Column("answer", LargeBinary, nullable=False),  # the whole answer as sent, gzip of JSON
)

# Decisions of people about inspections; the last one that is not withdrawn is in force.
REVIEWS = Table(
    "reviews",
    METADATA,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("inspection_id", Text, nullable=False, index=True),
    Column("time_us", BigInteger, nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("verdict", Text, nullable=False),  # pass or fail: what the part really is
    Column("classes", Text, nullable=False),  # JSON: names of the classes that it really shows
    Column("mask_file", Text),  # the corrected label map; NULL: the mask of the inspection is right
    Column("comment", Text),
    Column("withdraws", BigInteger),  # number of an earlier review that this one takes back
)

# Who is looking at what at the moment, so that two people never do the same work.
CLAIMS = Table(
    "claims",
    METADATA,
    Column("inspection_id", Text, primary_key=True),
    Column("who", Text, nullable=False),
    Column("until_us", BigInteger, nullable=False, index=True),
)

USERS = Table(
    "users",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # operator, engineer, admin
    Column("password_hash", Text),  # argon2; NULL: logs in by OpenID Connect alone
    Column("subject", Text, unique=True),  # issuer and subject of OpenID Connect
    Column("disabled", Boolean, nullable=False, default=False, server_default="0"),
    Column("created_us", BigInteger, nullable=False),
)
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("token_sha256", Text, primary_key=True),
    Column("user_name", Text, ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("csrf", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False, index=True),
)

# Every change that a person or a key makes: who, when, what, before and after.
AUDIT = Table(
    "audit",
    METADATA,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time_us", BigInteger, nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),  # such as recipe.put, bundle.promote, user.add, review.add
    Column("object", Text, nullable=False),  # such as the recipe's name
    Column("before", Text),  # JSON
    Column("after", Text),  # JSON
    Column("why", Text),
)

# Versions of recipes and activations, and promotions of bundles; `document` is the stored record in JSON.
RECIPE_CHANGES = Table(
    "recipe_changes",
    METADATA,
    Column("number", Counter, primary_key=True, autoincrement=False),  # without gaps: two writers collide
    Column("document", Text, nullable=False),
)
BUNDLE_CHANGES = Table(
    "bundle_changes",
    METADATA,
    Column("number", Counter, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
)
