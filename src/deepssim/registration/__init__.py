"""Register one image to another and measure their similarity afterwards."""
