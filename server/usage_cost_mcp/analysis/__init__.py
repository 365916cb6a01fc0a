"""Pure calculations on report rows: allocation, prices, savings, drivers, anomalies and forecasts."""
