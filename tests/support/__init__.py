"""What the tests share: servers, clients, generated organizations, and independent readers of the wire."""
