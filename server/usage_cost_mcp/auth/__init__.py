"""Authentication, workspace scopes and the audit log."""
