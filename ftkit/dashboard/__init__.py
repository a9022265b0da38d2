"""The dashboard of the local service: pages for browsers, on top of its API."""
