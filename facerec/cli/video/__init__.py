"""The commands on video: recognize cam, recognize video."""
