"""What a script asks of an answer: a schema that it matches, a part that is taken out of it."""
