"""From facts to the words of one message: templates, money and dates by locale, SMS segments."""
