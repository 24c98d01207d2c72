"""What makes a step fast, its mathematics unchanged: convolution, padding, upsampling and normalisation."""
