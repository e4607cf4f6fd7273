"""A recorded trace through the real router to mock engines, in real time: see bench/README.md."""
