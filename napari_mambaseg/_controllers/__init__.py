"""Controllers: what happens when the user does something. No Qt: views are protocols that a few lines can fake."""
