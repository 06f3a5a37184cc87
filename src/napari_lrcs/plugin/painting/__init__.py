"""What belongs to a painted layer of labels."""
