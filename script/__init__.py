"""What people run at the desk: server, test, check, and the modules behind them."""
