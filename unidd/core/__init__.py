"""The theory: filters, schedules, statistics, matching and what each method minimises; torch alone."""
