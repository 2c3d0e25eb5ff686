"""Files and run directories that survive interrupts, full disks and damage."""
