"""What we say: one turn of a conversation, its wording, its delivery."""
