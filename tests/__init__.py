"""The promises of pipechat, as tests."""
