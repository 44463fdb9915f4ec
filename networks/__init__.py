"""What `model` is made of beside the network itself: graphs made once and used for every ticker."""

# As in `model`: before TensorFlow, whose libcurl would otherwise serve yfinance.
import curl_cffi  # noqa: F401
