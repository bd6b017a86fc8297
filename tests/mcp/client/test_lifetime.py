"""A connection lasts as long as somebody uses the client, and what belongs to it has ended when nobody does."""
