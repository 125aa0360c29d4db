"""Every inspection kept: rows in the database, images and masks in files; reviews and statistics of them."""
