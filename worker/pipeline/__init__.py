"""The use cases: plan, admit, send, settle, and what a person does by hand. They own their transactions."""
