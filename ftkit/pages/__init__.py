"""HTML pages: the design system that all of them share, and their templates."""
