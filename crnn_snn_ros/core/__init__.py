"""Pure and deterministic: no files, no ROS, no clock."""
