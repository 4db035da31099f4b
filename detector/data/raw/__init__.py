"""What label files hold before any rule about words is applied, and which image each means."""
