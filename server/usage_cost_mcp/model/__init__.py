"""The pure domain: money, periods, dimensions, reports, and the rows and series made of them."""
