"""Measuring: one cell of a table, records and tables, plans, and what the machine has."""
