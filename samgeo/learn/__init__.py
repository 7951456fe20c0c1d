"""Training and evaluation of promptable models, whatever their encoder."""
