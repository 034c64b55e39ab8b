"""Camera-aware person re-identification without identity labels."""
