"""The commands of the server's image, listed in __main__.py: `replica-server serve`, `replica-server gc`, and so on."""
