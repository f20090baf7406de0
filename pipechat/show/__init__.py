"""Events and turns made into text and JSON for people and programs."""
