"""What makes a command faster and changes none of its results: each module says its gain, its test and its end."""
