"""What is fitted on a bundle's outputs: calibration, operating point, input gate."""
