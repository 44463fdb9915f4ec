"""What `model` is made of beside the network itself: graphs made once and used for every ticker."""

# As in `model`: before TensorFlow, whose libcurl would otherwise serve yfinance.
import curl_cffi  # noqa: F401

DEGREES = 5.0  # of freedom of the Student t that standardised errors are taken to follow
WEIGHT_DECAY = 0.01
