"""Views: Qt widgets that draw screens and pass on what the user does. They know nothing of the domain."""
