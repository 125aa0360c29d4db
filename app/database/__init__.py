"""The plant's database, SQLite or PostgreSQL: inspections, reviews, people, recipes, promotions."""
