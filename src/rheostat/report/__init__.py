"""Results as people read them: terminal tables, PNG figures, one HTML page. The only folder that draws."""
