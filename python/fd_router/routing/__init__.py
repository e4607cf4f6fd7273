"""What happens to a request: choosing workers, sending to one (mixed) or two (PD mode), handing the answer on."""
