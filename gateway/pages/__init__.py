"""What people look at: the report as a page, its plots, and the command that writes it (`tandem report`)."""
