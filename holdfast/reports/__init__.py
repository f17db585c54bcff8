"""How a run is told to people: words for scores, the report's sections, and their rendering as HTML and Markdown."""
