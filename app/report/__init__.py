"""Results for people: overlay, heat map, certificate."""
