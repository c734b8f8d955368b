"""A stand-in: ../README.md."""
