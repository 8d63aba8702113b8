"""A recorded session as one HTML file: what is shown of it, and the page that shows it."""
