"""What stands between an algorithm folder and its upload: check, rehearse, predict, serve, new."""
