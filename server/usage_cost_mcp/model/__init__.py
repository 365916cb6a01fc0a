"""The domain, pure: money, time, dimensions, and the rows and series that are made of them."""
