"""The quality report: one HTML page that shows what a database holds, what it lacks and why.

- `figures`: `quality_figures(database, now)`: a database in, plain figures out; from the small tables alone.
- `months`, `freshness`, `scores`: its parts: completeness by month, how far behind, what the log says.
- `charts`: figures into positions and colours; `wording`: into words.
- `page`: `page_text(figures)`, `write_page(figures, path)`: into HTML that needs neither script nor network.

What is judged and stored belongs to `quality`. Called by `cli` and `orchestration`.
"""
