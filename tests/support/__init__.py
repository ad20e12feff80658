"""What tests share: made-up tables, stand-ins, processes. Import it as `tests.support.<module>`."""
