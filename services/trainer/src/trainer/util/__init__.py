"""What any module may use: errors, signals, files, texts."""
