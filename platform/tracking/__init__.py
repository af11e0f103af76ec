"""The record in MLflow. MLflow only here."""
