"""The axis `schedules`: how are steps taken? One file per choice."""
