"""What may go wrong on one machine, done on purpose: kills, poison, outages, full disks, wrong clocks, damage."""
