"""What a fit is made with, by name: the original, fast and published recipes, and the catalogue."""
