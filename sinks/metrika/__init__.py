"""The Metrika sink: uploads stored conversions to Yandex Metrika, each exactly once, and tells what became of them."""
