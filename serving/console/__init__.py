"""The page that shows an installation to people: static files, and the questions that only they ask."""
